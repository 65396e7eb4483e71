"""Results from elsewhere: predictions with what is said of them, packed, scored again and shown beside our own."""
