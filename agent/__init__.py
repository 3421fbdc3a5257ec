"""Decides: plans, the loop, the optimizer, the ledger, the command line."""
