"""One run: its task, its folder on any storage, its attempts and what they write down."""
