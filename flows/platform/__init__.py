"""The platform: two servers, a worker and a keeper, started and stopped as one."""
