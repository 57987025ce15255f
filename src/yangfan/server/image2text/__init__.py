"""v1's call for pictures: one prompt, one picture, one answer. It is a chat with two parts."""
