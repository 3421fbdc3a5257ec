"""Which settings to try next, and which to recommend: engines behind one ask/tell protocol."""
