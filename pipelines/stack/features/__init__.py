"""Features of the stack: formulas of one row, and a lesion against its patient's others."""
