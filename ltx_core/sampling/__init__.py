"""Schedules, guidance, steps, the loop, and recipes as data."""
