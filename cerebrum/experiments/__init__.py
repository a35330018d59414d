"""Scenario x policy x seed -> runs, tables, reports; and published tables, re-run side by side."""
