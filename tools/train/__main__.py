"""`python -m tools.train DATA`: train without the rest of smartcar installed."""

import typer

from tools.train.command import train

if __name__ == "__main__":
    typer.run(train)
