-- One database for each service, made when the PostgreSQL of compose.yaml starts for the first time. No service can
-- reach into another's.
CREATE DATABASE identity;
CREATE DATABASE organization;
CREATE DATABASE billing;
