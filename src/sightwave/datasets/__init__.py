"""Data sets: one file each; every one loads Trials and Stimuli."""
