"""The commands of `talkdrop`: `tasks` speak the API, `operator` works on the stack itself."""
