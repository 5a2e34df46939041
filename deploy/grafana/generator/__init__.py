"""Makes the dashboards of deploy/grafana/dashboards: `python -m deploy.grafana.generator`, or `make generated`."""
