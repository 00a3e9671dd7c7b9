"""`python -m gspo_lite`, for where the command itself is not on the path."""

from gspo_lite.cli import main

if __name__ == "__main__":
    main()
