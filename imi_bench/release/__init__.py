"""What people answered: fetch, read, check, exclude; conditions and published values."""
