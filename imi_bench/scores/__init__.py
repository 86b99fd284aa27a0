"""From choices to numbers with intervals; knows decision variables and people, not observers."""
