// Who opens MLflow for the first time sees model training and no assistant; what somebody chose before stays.
for (const [name, value] of [
  ["mlflow.workflowType_v1", '"machine_learning"'],
  ["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"],
]) {
  if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
}
