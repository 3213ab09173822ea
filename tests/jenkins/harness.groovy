/*
 * Runs Jenkinsfiles without a controller: gives the declarative pipeline language its meaning and runs its shell steps for real.
 *
 *     java -cp groovy-all.jar groovy.ui.GroovyMain harness.groovy CONFIG.json
 *
 * CONFIG.json: home (directory for logs, archives and locks), job, parameters, environment (of the agent), credentials (by id), and jobs
 * (by name: jenkinsfile, workspace). The console goes to standard output, and what became of each build to <home>/builds/<job>/<number>/.
 * SIGTERM aborts the build as the button of a controller does. What the harness does not know is an error, never ignored. CONTRIBUTING.md
 * says what all this proves and what only a real controller can.
 */
import groovy.io.FileType
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import java.nio.channels.FileChannel
import java.nio.channels.FileLock
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.StandardOpenOption
import java.nio.file.attribute.PosixFilePermissions
import java.time.Instant
import java.time.temporal.ChronoUnit
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.DeclarationExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.GStringExpression
import org.codehaus.groovy.ast.expr.MapEntryExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.expr.PropertyExpression
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.ast.stmt.ReturnStatement
import org.codehaus.groovy.ast.stmt.Statement
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.Phases

/** A step failed; the text is what the console says. */
class Failed extends RuntimeException {
    Failed(String message) { super(message) }
}

/** The build was aborted while a step ran. */
class Aborted extends RuntimeException {
    Aborted(String message) { super(message) }
}

/** The Jenkinsfile is none that a controller would take. */
class Invalid extends RuntimeException {
    Invalid(String message) { super(message) }
}

/** What a controller, and a careful reviewer, refuse before anything runs. */
class Reader extends CodeVisitorSupport {

    static final Map SECTIONS = [
        pipeline: ['agent', 'options', 'parameters', 'environment', 'stages', 'post'],
        stage: ['agent', 'when', 'options', 'environment', 'steps', 'stages', 'post'],
        stages: ['stage'],
    ]
    static final List CONDITIONS = ['always', 'aborted', 'failure', 'success', 'unstable', 'unsuccessful', 'cleanup']
    static final List SCRIPTED = ['script', 'expression']

    private final String name
    private final Set secrets = []
    private final List parents = []
    final List mistakes = []

    Reader(String name) { this.name = name }

    /** Raises Invalid with all mistakes of a Jenkinsfile. */
    static void read(File jenkinsfile) {
        CompilationUnit unit = new CompilationUnit()
        unit.addSource(jenkinsfile.name, jenkinsfile.text)
        unit.compile(Phases.CONVERSION)
        Reader reader = new Reader(jenkinsfile.name)
        List code = unit.AST.modules.collectMany { module -> [module.statementBlock] + module.methods*.code }
        code*.visit(new CodeVisitorSupport() {
            void visitMapEntryExpression(MapEntryExpression entry) {
                if (entry.keyExpression.text.endsWith('ariable')) { reader.secrets << entry.valueExpression.text }
                super.visitMapEntryExpression(entry)
            }
        })
        code*.visit(reader)
        if (reader.mistakes) { throw new Invalid(reader.mistakes.join('\n')) }
    }

    void visitMethodCallExpression(MethodCallExpression call) {
        String method = call.methodAsString
        String parent = parents ? parents.last() : null
        if (SECTIONS[parent] && !(method in SECTIONS[parent])) { wrong(call, "$parent { } has no $method") }
        if (parent == 'post' && !(method in CONDITIONS)) { wrong(call, "post { } has no condition $method") }
        if (method == 'sh') {
            call.arguments.visit(new CodeVisitorSupport() {
                void visitGStringExpression(GStringExpression text) {
                    wrong(text, 'sh takes a text in single quotes, so that Groovy interpolates nothing into a command')
                }
            })
        }
        call.arguments.expressions.each { Expression argument ->
            if (argument instanceof ClosureExpression) {
                boolean stepsOnly = (method == 'steps' || parent == 'post') && !parents.any { it in SCRIPTED }
                if (stepsOnly) { onlySteps(argument.code) }
                parents << method
                argument.visit(this)
                parents.remove(parents.size() - 1)
            } else {
                argument.visit(this)
            }
        }
    }

    void visitGStringExpression(GStringExpression text) {
        text.values.each { Expression value ->
            String variable = value instanceof PropertyExpression ? value.propertyAsString : value.text
            if (variable in secrets) { wrong(text, "$variable is a credential, and Groovy would write it into a text") }
        }
        super.visitGStringExpression(text)
    }

    private void onlySteps(Statement code) {
        code.statements.each { Statement statement ->
            boolean step = statement instanceof ExpressionStatement || statement instanceof ReturnStatement
            Expression expression = step ? statement.expression : null
            if (!(expression instanceof MethodCallExpression) || expression instanceof DeclarationExpression) {
                wrong(statement, 'only steps stand here; other code belongs into script { }')
            }
        }
    }

    private void wrong(node, String sentence) { mistakes << "$name:$node.lineNumber: $sentence".toString() }

}

/** A controller with its jobs and credentials, and one build at a time at the head of those that wait for it. */
class Controller {

    final Map config
    final List running = []
    volatile String reason

    Controller(Map config) { this.config = config }

    /** Ends what runs now, as a controller does: every process that carries the build's cookie is told to end. */
    synchronized void abort(String why) {
        if (reason) { return }
        reason = why
        running.each { Build build -> build.interrupted = true }
        running ? tell('TERM', running.first().cookie) : null
    }

    void tell(String signal, String cookie) {
        List pids = new File('/proc').list().findAll { it.isInteger() }.findAll { pid ->
            try {
                new File("/proc/$pid/environ").text.split('\0').contains("JENKINS_NODE_COOKIE=$cookie".toString())
            } catch (IOException gone) {
                false
            }
        }
        if (pids) { ['kill', "-$signal".toString(), *pids].execute().waitFor() }
    }

    Build start(String job, Map given, Build upstream = null) {
        if (!config.jobs[job]) { throw new Failed("No item named $job found") }
        Build build = new Build(this, job, given, upstream)
        running << build
        try {
            build.run()
        } finally {
            running.remove(build)
        }
        return build
    }

}

/** One build of one job. */
class Build {

    static final List RESULTS = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'NOT_BUILT', 'ABORTED']
    static final int PATIENCE = 60000

    final Controller controller
    final String job
    final int number
    final String cookie
    final File workspace
    final File temporary
    final File folder
    final Map given
    final Map params = [:]
    final Map values = [:]
    final List overlays = []
    final List masks = []
    final List stages = []
    final List triggered = []
    final List dirs = []
    final Map options = [:]
    final Map tests = [total: 0, failed: 0]
    volatile boolean interrupted
    boolean stopped
    boolean broken // by a stage that failed: the others are skipped
    int masked
    String result
    String description
    String displayName
    Closure declared

    Build(Controller controller, String job, Map given, Build upstream) {
        this.controller = controller
        this.job = job
        this.given = given
        File builds = new File("$controller.config.home/builds/$job")
        builds.mkdirs()
        number = (builds.list()*.toInteger().max() ?: 0) + 1
        folder = new File(builds, "$number")
        folder.mkdirs()
        cookie = upstream?.cookie ?: UUID.randomUUID().toString()
        workspace = new File(controller.config.jobs[job].workspace as String)
        temporary = new File("$workspace.path@tmp")
        temporary.mkdirs()
        values.putAll(controller.config.environment)
        values.putAll([JENKINS_NODE_COOKIE: cookie, JOB_NAME: job, BUILD_NUMBER: "$number".toString(), BUILD_TAG: "jenkins-$job-$number".toString(),
                       WORKSPACE: workspace.path, WORKSPACE_TMP: temporary.path, CI: 'true'])
        values.putAll(controller.config.jobs[job].environment ?: [:])
    }

    // ------------------------------------------------------------------ console

    void say(String text) {
        text.readLines().each { String line ->
            String shown = line
            masks.toUnique().sort { -it.size() }.each { String secret ->
                masked += shown.count(secret)
                shown = shown.replace(secret, '****')
            }
            if (options.timestamps) { shown = "[${Instant.now().truncatedTo(ChronoUnit.MILLIS)}] $shown" }
            new File(folder, 'log') << "$shown\n"
            println(shown)
            System.out.flush()
        }
    }

    // ------------------------------------------------------------------ environment

    Map environment() {
        Map all = [:]
        all.putAll(values)
        params.each { name, value -> all[name] = "$value".toString() }
        overlays.each { all.putAll(it) }
        return all
    }

    def withOverlay(Map more, Closure body) {
        overlays << more.collectEntries { name, value -> [name, "$value".toString()] }
        try {
            return body()
        } finally {
            overlays.remove(overlays.size() - 1)
        }
    }

    File at(String path) {
        File base = dirs ? dirs.last() : workspace
        return new File(path).absolute ? new File(path) : new File(base, path)
    }

    /** Removes a directory. Groovy's own deleteDir() would follow links and empty what they point to. */
    void remove(File folder) { ['rm', '-rf', '--', folder.path].execute().waitFor() }

    // ------------------------------------------------------------------ the life of a build

    void run() {
        say("Started job $job #$number")
        try {
            File jenkinsfile = new File(controller.config.jobs[job].jenkinsfile as String)
            Reader.read(jenkinsfile)
            CompilerConfiguration compiler = new CompilerConfiguration(scriptBaseClass: JenkinsScript.name)
            JenkinsScript script = new GroovyShell(getClass().classLoader, new JenkinsBinding(this), compiler).parse(jenkinsfile.text, 'Jenkinsfile')
            script.setSteps(new Steps(this, script))
            script.run()
            new Pipeline(this, declared, script.getSteps()).run()
        } catch (Invalid | Failed | MissingPropertyException | MissingMethodException problem) {
            say("ERROR: $problem.message")
            worse('FAILURE')
        }
        result = result ?: 'SUCCESS'
        say("Finished: $result")
        File kept = new File(folder, 'archive')
        List archived = []
        if (kept.exists()) { kept.eachFileRecurse(FileType.FILES) { archived << (it.path - "$kept.path/") } }
        new File(folder, 'build.json').text = JsonOutput.toJson([
            job: job, number: number, result: result, description: description, parameters: params, stages: stages, masked: masked,
            archived: archived.sort(), tests: tests, triggered: triggered, options: options.keySet(),
        ])
    }

    void worse(String other) {
        if (RESULTS.indexOf(other) > RESULTS.indexOf(result ?: 'SUCCESS')) { result = other }
    }

    /** Called before and after what may take time: the build that was aborted stops once, and what cleans up afterwards runs. */
    void checkpoint() {
        if (interrupted && !stopped) {
            stopped = true
            throw new Aborted(controller.reason)
        }
    }

    /** Runs a body; tells what became of it as SUCCESS, FAILURE or ABORTED, and the build takes part in it. */
    String attempt(Closure body) {
        try {
            body()
            return 'SUCCESS'
        } catch (Aborted aborted) {
            say(aborted.message)
            worse('ABORTED')
            return 'ABORTED'
        } catch (Failed | MissingPropertyException | MissingMethodException | IOException problem) {
            say("ERROR: $problem.message")
            worse('FAILURE')
            return 'FAILURE'
        }
    }

    def holding(List names, Closure body) {
        List held = names.collect { String name ->
            File file = new File("$controller.config.home/locks/${name.replaceAll('[^A-Za-z0-9.-]', '_')}")
            file.parentFile.mkdirs()
            FileChannel channel = FileChannel.open(file.toPath(), StandardOpenOption.CREATE, StandardOpenOption.WRITE)
            FileLock lock = channel.tryLock()
            if (!lock) {
                say("[$name] is in use, waiting...")
                lock = channel.lock()
            }
            return channel
        }
        try {
            return body()
        } finally {
            held*.close()
        }
    }

}

/** Names that a Jenkinsfile may use anywhere: params, env, currentBuild, and the environment's own. */
class JenkinsBinding extends Binding {

    private final Build build

    JenkinsBinding(Build build) { this.build = build }

    def getVariable(String name) {
        if (super.hasVariable(name)) { return super.getVariable(name) }
        switch (name) {
            case 'params': return build.params
            case 'currentBuild': return new CurrentBuild(build)
            case 'env': return new Env(build)
        }
        Map environment = build.environment()
        if (environment.containsKey(name)) { return environment[name] }
        throw new MissingPropertyException(name, Script)
    }

    boolean hasVariable(String name) {
        return super.hasVariable(name) || name in ['params', 'currentBuild', 'env'] || build.environment().containsKey(name)
    }

}

class Env {

    private final Build build

    Env(Build build) { this.build = build }

    def propertyMissing(String name) { return build.environment()[name] }

    void propertyMissing(String name, value) { build.values[name] = "$value".toString() }

}

class CurrentBuild {

    private final Build build

    CurrentBuild(Build build) { this.build = build }

    String getDescription() { return build.description }

    void setDescription(String text) { build.description = text }

    String getDisplayName() { return build.displayName }

    void setDisplayName(String text) { build.displayName = text }

    String getResult() { return build.result }

    void setResult(String other) { build.worse(other) }

    String getCurrentResult() { return build.result ?: 'SUCCESS' }

    int getNumber() { return build.number }

}

abstract class JenkinsScript extends Script {

    Steps steps

    void pipeline(Closure body) { getSteps().build.declared = body }

    def methodMissing(String name, args) { return getSteps().invokeMethod(name, args) }

}

/** Takes what stands in a block: each call by name with its arguments. */
class Recorder {

    final List calls = []

    def methodMissing(String name, args) {
        calls << [name: name, args: args as List]
        return null
    }

    /** agent any: everything else is a variable. */
    def propertyMissing(String name) {
        if (name in ['any', 'none']) { return name }
        throw new MissingPropertyException(name, Recorder)
    }

    List named(String name) { return calls.findAll { it.name == name }*.args }

    Closure block(String name) { return named(name) ? named(name).first().last() as Closure : null }

    static Recorder of(Closure body) {
        Recorder recorder = new Recorder()
        if (body) {
            body.delegate = recorder
            body.resolveStrategy = Closure.DELEGATE_FIRST
            body()
        }
        return recorder
    }

}

/** Takes the assignments of environment { } one after the other, so that a later one may use an earlier one. */
class Assignments {

    private final Build build
    private final Steps steps
    final Map made = [:]

    Assignments(Build build, Steps steps) {
        this.build = build
        this.steps = steps
    }

    def getProperty(String name) {
        if (name == 'made') { return this.@made }
        Map all = build.environment() + this.@made
        return all.containsKey(name) ? all[name] : steps.script.binding.getVariable(name)
    }

    void setProperty(String name, value) { this.@made[name] = "$value".toString() }

}

/** Gives the recorded blocks of pipeline { } their meaning, in the order in which a controller does. */
class Pipeline {

    private static final Map POST = [
        always: { true }, aborted: { it == 'ABORTED' }, failure: { it == 'FAILURE' }, success: { it == 'SUCCESS' }, unstable: { it == 'UNSTABLE' },
        unsuccessful: { it != 'SUCCESS' }, cleanup: { true },
    ]
    private static final Map UNITS = [SECONDS: 1, MINUTES: 60, HOURS: 3600]

    private final Build build
    private final Closure declared
    private final Steps steps

    Pipeline(Build build, Closure declared, Steps steps) {
        this.build = build
        this.declared = declared
        this.steps = steps
    }

    void run() {
        if (!declared) { throw new Invalid('There is no pipeline { } in it') }
        Recorder pipeline = Recorder.of(declared)
        if (!pipeline.named('agent')) { throw new Invalid('pipeline { } has no agent') }
        parameters(Recorder.of(pipeline.block('parameters')))
        List locks = options(pipeline.block('options'))
        build.holding(locks) {
            environment(pipeline.block('environment')) {
                Recorder.of(pipeline.block('stages')).calls.each { call -> stage(call.args.first() as String, call.args.last() as Closure) }
                post(pipeline.block('post'), build)
            }
        }
    }

    private void parameters(Recorder declared) {
        declared.calls.each { call ->
            Map parameter = call.args.first() as Map
            if (!parameter.name || !parameter.description) { throw new Invalid("The parameter $parameter.name has no name or no description") }
            switch (call.name) {
                case ['string', 'text']: build.params[parameter.name] = parameter.defaultValue ?: ''; break
                case 'booleanParam': build.params[parameter.name] = parameter.defaultValue ?: false; break
                case 'choice': build.params[parameter.name] = (parameter.choices as List).first(); break
                default: throw new Invalid("The harness does not know parameters of kind $call.name")
            }
        }
        build.given.each { name, value ->
            if (!build.params.containsKey(name)) { throw new Invalid("The job $build.job has no parameter $name") }
            build.params[name] = value
        }
    }

    private List options(Closure body) {
        List locks = []
        if (!body) { return locks }
        Recorder.of(body).calls.each { call ->
            build.options[call.name] = true
            switch (call.name) {
                case ['timestamps', 'buildDiscarder', 'logRotator', 'skipDefaultCheckout']: break
                case 'disableConcurrentBuilds': locks << "job-$build.job".toString(); break
                case 'lock': locks << "lock-${(call.args.first() as Map).resource}".toString(); break
                case 'timeout':
                    Map limit = call.args.first() as Map
                    Timer timer = new Timer(true)
                    timer.schedule({ build.controller.abort('Timeout has been exceeded') } as TimerTask, (limit.time as long) * UNITS[limit.unit] * 1000)
                    break
                default: throw new Invalid("The harness does not know the option $call.name")
            }
        }
        return locks
    }

    private void environment(Closure body, Closure inside) {
        if (!body) {
            inside()
            return
        }
        Assignments assignments = new Assignments(build, steps)
        body.delegate = assignments
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body()
        build.withOverlay(assignments.made, inside)
    }

    private void stage(String name, Closure body) {
        Recorder stage = Recorder.of(body)
        Map told = [name: name, status: 'SUCCESS']
        build.stages << told
        build.say("[Pipeline] { ($name)")
        if (build.broken) {
            build.say("Stage \"$name\" skipped due to earlier failure(s)")
            told.status = 'SKIPPED'
            return
        }
        environment(stage.block('environment')) {
            if (stage.block('when') && !conditions(stage.block('when')).every()) {
                build.say("Stage \"$name\" skipped due to when conditional")
                told.status = 'SKIPPED'
                return
            }
            String became = build.attempt { steps.inside(stage.block('steps')) }
            // What catchError caught marks the stage, and the next one runs all the same.
            told.status = became == 'SUCCESS' ? told.remove('post') ?: became : became
            build.broken |= became != 'SUCCESS'
            post(stage.block('post'), told)
        }
    }

    private List conditions(Closure body) {
        return Recorder.of(body).calls.collect { call ->
            switch (call.name) {
                case 'expression': return steps.inside(call.args.first() as Closure)
                case 'environment': Map wanted = call.args.first() as Map; return build.environment()[wanted.name] == wanted.value
                case 'buildingTag': return build.environment().containsKey('TAG_NAME')
                case 'not': return !conditions(call.args.first() as Closure).every()
                case 'allOf': return conditions(call.args.first() as Closure).every()
                case 'anyOf': return conditions(call.args.first() as Closure).any()
                default: throw new Invalid("The harness does not know the condition $call.name")
            }
        }
    }

    private void post(Closure body, judged) {
        Map blocks = Recorder.of(body).calls.collectEntries { [it.name, it.args.last()] }
        POST.each { String condition, Closure applies ->
            String status = judged instanceof Build ? judged.result ?: 'SUCCESS' : judged.status
            if (blocks[condition] && applies(status)) {
                build.say("[Pipeline] { (Post: $condition)")
                String became = build.attempt { steps.inside(blocks[condition] as Closure) }
                if (became != 'SUCCESS' && !(judged instanceof Build)) {
                    judged.status = became
                    build.broken = true
                }
            }
        }
    }

}

/** The steps, and the symbols that are arguments of steps. */
class Steps {

    private static final List CREDENTIALS = ['usernamePassword', 'file', 'sshUserPrivateKey', 'string']

    final Build build
    final JenkinsScript script

    Steps(Build build, JenkinsScript script) {
        this.build = build
        this.script = script
    }

    def propertyMissing(String name) { return script.binding.getVariable(name) }

    def inside(Closure body) {
        if (!body) { return null }
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_FIRST
        return body()
    }

    def invokeMethod(String name, args) {
        List all = args as List
        build.checkpoint()
        if (name in CREDENTIALS) { return [kind: name] + (all.first() as Map) }
        if (name == 'booleanParam') { return [kind: name] + (all.first() as Map) }
        if (script.metaClass.respondsTo(script, name, all as Object[])) { return script.metaClass.invokeMethod(script, name, all as Object[]) }
        MetaMethod method = metaClass.getMetaMethod("do${name.capitalize()}", all as Object[])
        if (!method) { throw new Failed("No such DSL method '$name' found with these arguments: $all") }
        def value = method.invoke(this, all as Object[])
        build.checkpoint()
        return value
    }

    def doScript(Closure body) { return inside(body) }

    void doEcho(String text) { build.say(text) }

    void doError(String text) { throw new Failed(text) }

    def doSh(String script) { return doSh(script: script) }

    def doSh(Map how) {
        File control = new File(build.temporary, "durable-${UUID.randomUUID()}")
        control.mkdirs()
        File script = new File(control, 'script.sh')
        File output = new File(control, 'output')
        script.text = how.script
        output.text = ''
        ProcessBuilder builder = new ProcessBuilder(['sh', '-xe', script.path])
        builder.directory(build.dirs ? build.dirs.last() : build.workspace)
        builder.environment().clear()
        builder.environment().putAll(build.environment())
        builder.redirectInput(new File('/dev/null')).redirectErrorStream(!how.returnStdout).redirectOutput(output)
        File errors = new File(control, 'errors')
        if (how.returnStdout) { builder.redirectError(errors) }
        build.say("[Pipeline] sh${how.label ? " ($how.label)" : ''}")
        int code = follow(builder.start(), how.returnStdout ? errors : output)
        String text = output.text
        build.remove(control)
        build.checkpoint()
        if (how.returnStatus) { return code }
        if (code != 0) { throw new Failed("script returned exit code $code") }
        return how.returnStdout ? text : null
    }

    /** Shows what a process writes until it has ended; one that an abort does not end is killed. The process may leave others behind. */
    private int follow(Process process, File output) {
        long told = 0
        int shown = 0
        boolean alive = true
        output.createNewFile()
        while (alive) {
            alive = !process.waitFor(100, java.util.concurrent.TimeUnit.MILLISECONDS)
            if (output.length() > shown) {
                byte[] bytes = output.bytes
                String text = new String(bytes, shown, bytes.length - shown, 'UTF-8')
                text = alive ? text[0..<(text.lastIndexOf('\n') + 1)] : text
                build.say(text)
                shown += text.getBytes('UTF-8').length
            }
            told = build.interrupted && !build.stopped ? told ?: System.currentTimeMillis() : 0
            if (told && System.currentTimeMillis() - told > Build.PATIENCE) { build.controller.tell('KILL', build.cookie) }
        }
        return process.exitValue()
    }

    def doWithEnv(List assignments, Closure body) {
        Map more = assignments.collectEntries { it.toString().split('=', 2) as List }
        return build.withOverlay(more) { inside(body) }
    }

    def doDir(String path, Closure body) {
        File place = build.at(path)
        place.mkdirs()
        build.dirs << place
        try {
            return inside(body)
        } finally {
            build.dirs.remove(build.dirs.size() - 1)
        }
    }

    void doDeleteDir() { build.remove(build.dirs ? build.dirs.last() : build.workspace) }

    boolean doFileExists(String path) { return build.at(path).exists() }

    String doReadFile(String path) {
        if (!build.at(path).exists()) { throw new Failed("$path (No such file or directory)") }
        return build.at(path).text
    }

    void doWriteFile(Map how) {
        build.at(how.file as String).parentFile.mkdirs()
        build.at(how.file as String).text = how.text
    }

    def doCatchError(Map how = [:], Closure body) {
        try {
            return inside(body)
        } catch (Failed | MissingPropertyException | MissingMethodException problem) {
            build.say("ERROR: $problem.message")
            build.worse((how.buildResult ?: 'FAILURE') as String)
            if (build.stages) { build.stages.last().post = how.stageResult ?: 'FAILURE' }
            return null
        }
    }

    // ------------------------------------------------------------------ credentials

    def doWithCredentials(List bindings, Closure body) {
        Map more = [:]
        List secrets = []
        List files = []
        bindings.each { Map binding ->
            Map stored = build.controller.config.credentials[binding.credentialsId] as Map
            if (!stored || stored.kind != binding.kind) { throw new Failed("Could not find credentials entry with ID '$binding.credentialsId'") }
            switch (binding.kind) {
                case 'usernamePassword':
                    more[binding.usernameVariable] = stored.username
                    more[binding.passwordVariable] = stored.password
                    secrets << stored.password
                    break
                case 'string':
                    more[binding.variable] = stored.secret
                    secrets << stored.secret
                    break
                case 'file':
                    more[binding.variable] = keep(files, stored.content as String, stored.filename as String)
                    break
                case 'sshUserPrivateKey':
                    more[binding.keyFileVariable] = keep(files, stored.key as String, 'ssh-key')
                    if (binding.usernameVariable) { more[binding.usernameVariable] = stored.username }
                    break
            }
        }
        build.masks.addAll(secrets)
        try {
            return build.withOverlay(more) { inside(body) }
        } finally {
            secrets.each { build.masks.remove(it) }
            files.each { build.remove(it) }
        }
    }

    private String keep(List files, String content, String name) {
        File folder = new File(build.temporary, "secretFiles/${UUID.randomUUID()}")
        folder.mkdirs()
        File file = new File(folder, name)
        Files.createFile(file.toPath(), PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString('rw-------')))
        file.text = content
        files << folder
        return file.path
    }

    // ------------------------------------------------------------------ what is kept

    private List matching(String patterns) {
        List found = []
        if (!build.workspace.exists()) { return found }
        List matchers = patterns.split(',')*.trim().collectMany { [it, it.replace('**/', '')] }.collect { FileSystems.default.getPathMatcher("glob:$it") }
        build.workspace.eachFileRecurse(FileType.FILES) { File file ->
            java.nio.file.Path path = build.workspace.toPath().relativize(file.toPath())
            if (matchers.any { it.matches(path) }) { found << path.toString() }
        }
        return found.sort()
    }

    void doArchiveArtifacts(Map how) {
        List found = matching(how.artifacts as String)
        if (!found && !how.allowEmptyArchive) { throw new Failed("No artifacts found that match the file pattern \"$how.artifacts\"") }
        found.each { String path ->
            File copy = new File(build.folder, "archive/$path")
            copy.parentFile.mkdirs()
            copy.bytes = new File(build.workspace, path).bytes
        }
    }

    void doJunit(Map how) {
        List found = matching(how.testResults as String)
        if (!found && !how.allowEmptyResults) { throw new Failed('No test report files were found. Configuration error?') }
        found.each { String path ->
            def suites = new XmlSlurper().parse(new File(build.workspace, path))
            def cases = suites.'**'.findAll { it.name() == 'testcase' }
            build.tests.total += cases.size()
            build.tests.failed += cases.count { !it.failure.isEmpty() || !it.error.isEmpty() }
            File copy = new File(build.folder, "junit/${path.replace('/', '_')}")
            copy.parentFile.mkdirs()
            copy.bytes = new File(build.workspace, path).bytes
        }
        if (build.tests.failed) { build.worse('UNSTABLE') }
    }

    // ------------------------------------------------------------------ other repositories and jobs

    void doGit(Map how) {
        File place = build.dirs ? build.dirs.last() : build.workspace
        build.remove(place)
        List command = ['git', 'clone', '--quiet', '--branch', how.branch ?: 'master', how.url, place.path]
        build.say("Cloning repository $how.url")
        Process process = new ProcessBuilder(command*.toString()).redirectErrorStream(true).start()
        String text = process.text
        if (process.waitFor() != 0) { throw new Failed(text.trim()) }
    }

    def doBuild(Map how) {
        build.say("Scheduling project: $how.job")
        Build other = build.controller.start(how.job as String, (how.parameters ?: []).collectEntries { [it.name, it.value] }, build)
        build.triggered << [job: other.job, number: other.number, result: other.result]
        build.say("Build $other.job #$other.number completed: $other.result")
        build.checkpoint()
        if (other.result != 'SUCCESS' && how.propagate != false) {
            build.worse(other.result)
            throw new Failed("$other.job #$other.number completed with status $other.result (propagate: false to ignore)")
        }
        return new CurrentBuild(other)
    }

}

Map config = new JsonSlurper().parse(new File(args[0])) as Map
new File(args[0]).delete() // it holds the credentials
Controller controller = new Controller(config)
['TERM', 'INT'].each { String name ->
    sun.misc.Signal.handle(new sun.misc.Signal(name), { controller.abort('Aborted by the user') } as sun.misc.SignalHandler)
}
Build build = controller.start(config.job as String, config.parameters as Map)
System.exit(build.result == 'SUCCESS' ? 0 : 1)
