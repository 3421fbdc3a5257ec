"""Trainings as commands: a config and data in, weights with card and pictures out."""
