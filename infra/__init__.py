"""What runs where: the stack, its functions, its workflow."""
