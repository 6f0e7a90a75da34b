-- Beside `prefect`: the runs and models, and the users of the MLflow page.
CREATE DATABASE mlflow;
CREATE DATABASE auth;
