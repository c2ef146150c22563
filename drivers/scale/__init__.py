"""Scales and weighing indicators."""
