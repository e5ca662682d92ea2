"""Recipes: one readable file per system."""
