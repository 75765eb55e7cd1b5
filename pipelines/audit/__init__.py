"""`lesion audit`: what makes a score better than the model, looked for before it is believed."""
