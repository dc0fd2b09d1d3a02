"""Long voices: cut a voice into segments that a model takes, join the videos that were made of
them.

Only the functions that ship PyAV (https://pyav.basswood-io.com, bindings of FFmpeg's libraries) may
import this folder.
"""
