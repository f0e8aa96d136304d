"""Plans and run folders, looked at again and again."""
