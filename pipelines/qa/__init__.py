"""Looking through masks in the browser: a round of review, by one person or a group."""
