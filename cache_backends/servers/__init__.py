"""The caches that servers keep: Redis, PostgreSQL, MySQL and MariaDB, MongoDB.

Each driver is imported with its own module only, and each module only where its server is used.
"""
