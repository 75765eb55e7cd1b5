"""The stack: gradient boosting on metadata, patient context, masks and image scores."""
