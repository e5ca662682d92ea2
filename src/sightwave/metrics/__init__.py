"""Metrics: functions (scores, truth) -> number."""
