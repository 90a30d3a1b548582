"""Commands on what a sweep file may hold."""
