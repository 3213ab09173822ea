# The front door. Each target is what a person could type; `make -n TARGET` shows it. ARGS goes to Ansible: make lab ARGS=-v
.DEFAULT_GOAL := help
.PHONY: help lab check run status logs password test test-deep test-fresh nexus lint standards down destroy backup restore clean bench bench-trials screenshots experiment-check docs lock venv venv-test venv-screenshots vault

PLAYBOOK = .venv/bin/ansible-playbook -i inventories/lab $(ARGS)
COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate

help: ## show this text
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 26

lab: vault ## turn the machines of inventories/lab into a running lab and train a first model
	@.venv/bin/python tools/run_playbook.py site.yml -i inventories/lab $(ARGS)

check: vault ## say what `make lab` would change, and change nothing
	@$(PLAYBOOK) site.yml --check --diff

test: venv-test ## run all tests, the cheapest first, in two processes
	@.venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 40

test-deep: venv-test ## run what takes longest: whole runs, AWX, the oldest Airflow and MLflow, images from a registry, ansible-test
	@.venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 20 -m deep

test-fresh: ## run the tests, and `make lab` twice, on a bare machine made in a folder (root; no engine may have containers)
	@.ci/run

nexus: venv-test ## try the roles and a whole lab on a real Nexus (needs mvn, the Docker engine and half an hour)
	@.venv/bin/pytest tests/nexus -m "nexus or slow"

lint: venv-test ## run only the linters
	@.venv/bin/pytest tests/lint

standards: venv-test ## run what Ansible and a Galaxy server ask of a collection and takes too long for `make lint`
	@.venv/bin/pytest tests/lint/test_standards.py -m slow

run: venv ## run an experiment file and follow it: EXPERIMENT=wine_search TRIALS=6 SET="inputs.seed=8"
	@$(PLAYBOOK) playbooks/run.yml $(if $(EXPERIMENT),-e experiment=$(EXPERIMENT)) $(if $(TRIALS),-e trials=$(TRIALS)) $(if $(SET),-e 'set="$(SET)"')

status: venv ## say what runs, since when, what waits and how full the disks are; fails when something is not well
	@$(PLAYBOOK) playbooks/status.yml

logs: venv ## show what a service logged last: SERVICE=airflow-scheduler LINES=100
	@$(PLAYBOOK) playbooks/logs.yml $(if $(SERVICE),-e service=$(SERVICE)) $(if $(LINES),-e lines=$(LINES))

password: venv ## show one password: NAME=airflow_admin
	@$(PLAYBOOK) playbooks/password.yml $(if $(NAME),-e credential=$(NAME))

down: venv ## stop the lab and keep its data
	@$(PLAYBOOK) playbooks/down.yml

backup: venv ## save the lab's data while it runs, to /var/backups/<lab_name> on its host
	@$(PLAYBOOK) playbooks/backup.yml

restore: venv ## bring a backup's data back; which one: ARGS="-e lab_backup_restore=latest"
	@$(PLAYBOOK) playbooks/restore.yml

destroy: venv ## remove the lab with all its data, saying first what goes
	@$(PLAYBOOK) playbooks/destroy.yml

clean: venv ## remove what an interrupted run may have left on the hosts
	@$(PLAYBOOK) playbooks/clean.yml

bench: vault ## measure the lab beside the official compose file
	@$(PLAYBOOK) playbooks/bench.yml

bench-trials: vault ## measure what a search costs in the running lab: trials per minute, overhead, time to the first line
	@.venv/bin/python benchmarks/trials.py $(ARGS)

screenshots: vault venv-screenshots ## take the pictures in docs/pictures from the running lab
	@.venv/bin/python tools/screenshots.py $(ARGS)

experiment-check: venv ## say what is wrong with the experiment files; one of them: EXPERIMENT=wine
	@.venv/bin/python tools/experiment_check.py $(EXPERIMENT)

docs: venv ## write the tables of variables into the READMEs of the roles
	@.venv/bin/python tools/role_docs.py

lock: ## resolve requirements*.in again (needs uv)
	$(COMPILE) --upgrade requirements.in -o requirements.txt
	$(COMPILE) --upgrade -c requirements.txt requirements-test.in -o requirements-test.txt
	$(COMPILE) --upgrade -c requirements-test.txt requirements-jenkins.in -o requirements-jenkins.txt
	$(COMPILE) --upgrade -c requirements-test.txt requirements-screenshots.in -o requirements-screenshots.txt

venv:
	@tools/make_venv.sh requirements.txt

venv-test:
	@tools/make_venv.sh requirements-test.txt
	@tools/install_packages.sh shellcheck=shellcheck mvn=maven

venv-screenshots: venv
	@tools/make_venv.sh requirements-screenshots.txt
	@tools/install_packages.sh chromium=chromium

# On the first run only: a random password and a vault of random credentials
vault: venv
	@tools/vault_password.py >/dev/null
	@test -e inventories/lab/group_vars/all/vault.yml || .venv/bin/ansible-playbook playbooks/create_vault.yml -i localhost,
