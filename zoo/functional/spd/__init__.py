"""Symmetric positive definite matrices: functions, metrics, means."""
