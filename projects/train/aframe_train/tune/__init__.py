"""Search for the settings of a training: many trials side by side, the poor ones stopped early."""
