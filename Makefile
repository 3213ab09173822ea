# The front door. Each target is what a person could type; `make -n TARGET` shows it. ARGS goes to Ansible: make lab ARGS=-v
# LAB is the folder of the lab that is meant: make lab LAB=~/churn-lab, or export LAB=~/churn-lab before. LIMIT names some of its hosts: make lab LIMIT=worker3
.DEFAULT_GOAL := help
.PHONY: help new lab check project experiment run status logs password vault renew test test-hosts try test-three test-deep test-fresh nexus lint standards bench bench-trials bench-edit screenshots experiment-check docs docs-site lock venv venv-test venv-screenshots there credentials
# The verbs of playbooks/site.yml, those beside them, and names that are no more
VERBS = preflight provision publish build start serve train verify
OTHER_VERBS = clean stop drain remove_worker backup restore destroy
.PHONY: $(VERBS) $(OTHER_VERBS) down

# Of make test
PROCESSES = 3
# Whether somebody named a lab, which make new wants
NAMED := $(origin LAB)
LAB ?= inventories/lab
# Not every shell makes a home directory of the tilde in LAB=~/churn-lab.
override LAB := $(patsubst ~/%,$(HOME)/%,$(LAB))
override PROJECT := $(patsubst ~/%,$(HOME)/%,$(PROJECT))
export LAB
# In quotes, for a path may have blanks
HOME_OF_LAB = {"lab_home": "$(LAB)"}
HOSTS = -i '$(LAB)/hosts.yml'$(if $(LIMIT), --limit '$(LIMIT)')
PLAYBOOK = .venv/bin/ansible-playbook $(HOSTS) $(ARGS)
COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate

help: ## show this text
	@sed -n 's/^\([a-z_-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 26

new: venv ## make a lab of your own: make new LAB=~/churn-lab
	@test '$(NAMED)' != undefined || { echo "LAB says which folder the lab gets: make new LAB=~/churn-lab" >&2; exit 2; }
	@.venv/bin/ansible-playbook playbooks/new_lab.yml -i localhost, -e '$(HOME_OF_LAB)' $(ARGS)

lab: credentials ## turn the machines of a lab into a running lab and train a first model; LAB=~/churn-lab for another than inventories/lab
	@.venv/bin/python tools/run_playbook.py site.yml $(HOSTS) $(ARGS)

preflight: ## look for everything that would stop the lab later, and change nothing
provision: ## install Docker on every host, and provide the base images
publish: ## run the package index, or prove that yours works, and publish the example projects; or bring your own to the index that runs, a folder or a wheel: PROJECT=../churn
build: ## build the lab's Airflow image
start: ## run MLflow and Airflow
serve: ## run the service that models are deployed to, and the workbench if it is on
train: ## train the first model
verify: ## drive the lab as a user would, and write the verdict
clean: ## remove what an interrupted run may have left on the hosts
stop: ## stop the lab and keep its data
drain: ## stop a worker when its tasks have ended, until it is started again: LIMIT=worker2
remove_worker: ## drain a worker and remove all that the lab has on its host: LIMIT=worker3
backup: ## save the lab's data while it runs, to /var/backups/<lab_name> on its host
restore: ## bring a backup's data back; which one: ARGS="-e lab_backup_restore=latest"
destroy: ## remove the lab with all its data, saying first what goes

# Not abspath, which makes two paths of one with a blank in it
publish: override ARGS += $(if $(PROJECT),-e package_index_serve=false -e '{"package_index_publish": ["$(if $(filter /%,$(firstword $(PROJECT))),,$(CURDIR)/)$(PROJECT)"]}')

$(VERBS): credentials
	@$(PLAYBOOK) playbooks/$@.yml

$(OTHER_VERBS): there
	@$(PLAYBOOK) playbooks/$@.yml

down:
	@echo "make down is called make stop now." >&2; exit 2

check: credentials ## say what `make lab` would change, and change nothing
	@$(PLAYBOOK) site.yml --check --diff

test: venv-test ## run the tests, in three processes; PROCESSES=2 leaves more to what else runs
	@.venv/bin/pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 40

test-hosts: venv-test ## make a lab of a bare host that runs systemd, and see what its user would see
	@.venv/bin/pytest tests/molecule -m molecule

try: venv-test ## try a change in one role on a test host that stays: ROLE=package_index
	@tools/try_role.sh $(ROLE)

test-three: venv-test ## make a lab of three bare hosts, and see what its users would see (takes long, and CI leaves it out)
	@.venv/bin/pytest tests/molecule -m three

test-deep: venv-test ## run what takes longest: whole runs, AWX, the oldest Airflow and MLflow, images from a registry, ansible-test
	@.venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 20 -m deep

test-fresh: ## run `make lab` twice, the tests, and those on a host, on a bare machine made in a folder (root; no engine may have containers)
	@.ci/run

nexus: venv-test ## try the roles and a whole lab on a real Nexus (needs mvn, the Docker engine and half an hour)
	@.venv/bin/pytest tests/nexus -m "nexus or slow"

lint: venv-test ## run only the linters
	@.venv/bin/pytest tests/lint

standards: venv-test ## run what Ansible and a Galaxy server ask of a collection and takes too long for `make lint`
	@.venv/bin/pytest tests/lint/test_standards.py -m slow

project: venv ## write a small package of your own with tests, beside this checkout: make project NAME=churn
	@.venv/bin/python tools/draft.py project '$(NAME)' $(if $(PROJECT),'$(PROJECT)')

experiment: there ## write an experiment file and an environment for a package: make experiment NAME=churn PROJECT=../churn
	@.venv/bin/python tools/draft.py experiment '$(NAME)' $(if $(PROJECT),'$(PROJECT)')

run: there ## run an experiment file and follow it: EXPERIMENT=wine_search TRIALS=6 SET="inputs.seed=8"; or a run that is there: RUN=its-id
	@trap : INT; $(PLAYBOOK) playbooks/run.yml $(if $(EXPERIMENT),-e experiment=$(EXPERIMENT)) $(if $(TRIALS),-e 'trials="$(TRIALS)"') $(if $(SET),-e "$$(.venv/bin/python -c 'import json, os; print("{set: !unsafe", json.dumps(os.environ["SET"]), "}")')") $(if $(RUN),-e 'run_id="$(RUN)"') || { code=$$?; test $$code = 99 || exit $$code; }

status: there ## say what runs, since when, what waits, how full the disks are and when certificates end; ends with an error (2) when something is not well
	@$(PLAYBOOK) playbooks/status.yml

logs: there ## show what a service logged last: SERVICE=airflow-scheduler LINES=100
	@$(PLAYBOOK) playbooks/logs.yml $(if $(SERVICE),-e service=$(SERVICE)) $(if $(LINES),-e lines=$(LINES))

password: there ## show one password: NAME=airflow_admin
	@$(PLAYBOOK) playbooks/password.yml $(if $(NAME),-e credential=$(NAME))

vault: there ## give the vault the credentials that it lacks, those of a newer version for example; `make lab` makes a vault by itself
	@.venv/bin/ansible-playbook playbooks/create_vault.yml -i localhost, -e '$(HOME_OF_LAB)' $(ARGS)

renew: credentials ## give passwords in the vault new values: NAME=redis,models; `make lab` then brings them to the hosts
	@test -n '$(NAME)' || { echo "NAME says which: make renew NAME=redis,models" >&2; exit 2; }
	@.venv/bin/ansible-playbook playbooks/create_vault.yml -i localhost, -e '$(HOME_OF_LAB)' -e 'renew="$(NAME)"' $(ARGS)

bench: credentials ## measure the lab beside the official compose file
	@$(PLAYBOOK) playbooks/bench.yml

bench-trials: credentials ## measure what a search costs in the running lab: trials per minute, overhead, time to the first line
	@.venv/bin/python benchmarks/trials.py $(ARGS)

bench-edit: credentials ## measure the way of an edit in the running lab: from a changed file of a package to its first line on a worker
	@.venv/bin/python benchmarks/edit.py $(ARGS)

screenshots: credentials venv-screenshots ## take the pictures in docs/pictures from the running lab
	@.venv/bin/python tools/screenshots.py $(ARGS)

experiment-check: there ## say what is wrong with the experiment files; one of them: EXPERIMENT=wine
	@.venv/bin/python tools/experiment_check.py $(EXPERIMENT)

docs: venv-test ## write the tables of the READMEs, the example of a vault, and the schema of experiment files
	@.venv/bin/python tools/role_docs.py

docs-site: venv-test ## build the documentation as a site of plain files in reports/site/
	@.venv/bin/python tools/docs_site.py

lock: ## resolve requirements*.in again (needs uv)
	$(COMPILE) --upgrade requirements.in -o requirements.txt
	$(COMPILE) --upgrade -c requirements.txt requirements-test.in -o requirements-test.txt
	$(COMPILE) --upgrade -c requirements-test.txt requirements-jenkins.in -o requirements-jenkins.txt
	$(COMPILE) --upgrade -c requirements-test.txt requirements-screenshots.in -o requirements-screenshots.txt

# ssh is how Ansible reaches any host but this one.
venv:
	@tools/install_packages.sh ssh=openssh-client
	@tools/make_venv.sh requirements.txt

venv-test:
	@tools/make_venv.sh requirements-test.txt
	@tools/install_packages.sh ssh=openssh-client shellcheck=shellcheck mvn=maven nft=nftables ip=iproute2

venv-screenshots: venv
	@tools/make_venv.sh requirements-screenshots.txt
	@tools/install_packages.sh chromium=chromium

there: venv
	@test -e '$(LAB)/hosts.yml' || { echo "There is no lab in $(LAB): make new LAB='$(LAB)' makes one." >&2; exit 1; }

credentials: there # on the first run only
	@test -e '$(LAB)/group_vars/lab/vault.yml' || .venv/bin/ansible-playbook playbooks/create_vault.yml -i localhost, -e '$(HOME_OF_LAB)'
