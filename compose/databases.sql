-- The two databases; the app makes the tables at its first monitor run.
IF DB_ID(N'monitor') IS NULL CREATE DATABASE monitor;
IF DB_ID(N'core') IS NULL CREATE DATABASE core;
