"""Export: a run's prediction as a file that needs neither its code nor hieraseg."""
