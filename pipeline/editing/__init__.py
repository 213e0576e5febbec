"""What an edit of a video is asked for with, how it is read, and how many are worked off."""
