"""Losses: functions hold the math, classes the names."""
