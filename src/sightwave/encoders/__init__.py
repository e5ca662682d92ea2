"""Encoders: EEG -> features, one file each."""
