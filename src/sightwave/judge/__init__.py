"""The judge: audit, seal, chance, interval, ceiling."""
