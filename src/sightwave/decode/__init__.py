"""Tasks: what is asked of decoded EEG."""
