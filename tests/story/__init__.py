"""Stories: the whole house at work, told and drawn, by one command each."""
