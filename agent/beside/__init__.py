"""What works beside the acquisition, in threads and processes of its own; nothing waits for it."""
