"""What a study will cost, learned from the store, and what is new about its runs."""
