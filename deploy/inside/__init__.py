"""What runs inside the image: standard library alone, Python 3.10; knows neither clusters nor Docker."""
