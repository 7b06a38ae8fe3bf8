"""`python wait_for.py URL`: exits 0 when the address answers 200; a health check for images without a shell."""

import sys
import urllib.error
import urllib.request


def main() -> int:
    """Returns 0 or 1, and says why."""
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:  # noqa: S310 -- an address of compose.yaml
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        sys.stderr.write(f"{sys.argv[1]}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
