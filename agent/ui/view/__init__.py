"""The browser view of a run: it reads the run's folder, and tells the run what a person wants.

It lives in a process of its own. All it knows is in the folder (ledger, images, heartbeat), and all
it can do is write a line to the run's control file, which the session checks like any other.
"""
