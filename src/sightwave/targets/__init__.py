"""Targets: what the EEG is aligned to, one file per kind."""
