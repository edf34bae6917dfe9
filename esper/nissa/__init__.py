"""Nissa: observability - metrics, alerts, error budgets, the dashboard's data."""
