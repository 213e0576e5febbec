"""The frozen backbone, the methods that train beside it, and the loop that trains them."""
