using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Journal.Etcd;
using SdnEdge.Mms.Tests.Etcd;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>Where a manager's journal is, of which one life after the other finds what the one before left.</summary>
internal interface ICrashDisk : IAsyncDisposable
{
    /// <summary>The journal of the life that there is.</summary>
    IJournal Journal { get; }

    /// <summary>The life has died: opens the journal for the next one.</summary>
    Task NextLifeAsync();
}

/// <summary>A file. The next life gets a copy of what is there, which is what SIGKILL leaves.</summary>
internal sealed class FileCrashDisk : ICrashDisk
{
    private readonly Func<string> _next;
    private string _file;
    private SqliteJournal _journal;

    private FileCrashDisk(Func<string> next, string file, SqliteJournal journal) => (_next, _file, _journal) = (next, file, journal);

    public IJournal Journal => _journal;

    public static async Task<ICrashDisk> OpenAsync(Func<string> next)
    {
        string file = next();
        return new FileCrashDisk(next, file, await SqliteJournal.OpenAsync(file, create: true));
    }

    public async Task NextLifeAsync()
    {
        string copy = _next();
        foreach (string suffix in (string[])["", "-wal"])
        {
            if (File.Exists(_file + suffix)) File.Copy(_file + suffix, copy + suffix);
        }

        await _journal.DisposeAsync();
        _journal = await SqliteJournal.OpenAsync(_file = copy, create: false);
    }

    public ValueTask DisposeAsync() => _journal.DisposeAsync();
}

/// <summary>etcd. The lease of a life that has died has run out when the next one begins.</summary>
internal sealed class EtcdCrashDisk : ICrashDisk
{
    private readonly EtcdClient _etcd;
    private readonly string _prefix;
    private EtcdTerm _term;
    private EtcdJournal _journal;

    private EtcdCrashDisk(EtcdClient etcd, string prefix, EtcdTerm term, EtcdJournal journal)
        => (_etcd, _prefix, _term, _journal) = (etcd, prefix, term, journal);

    public IJournal Journal => _journal;

    public static async Task<ICrashDisk> OpenAsync(EtcdServer server, string prefix)
    {
        EtcdClient etcd = server.Client();
        (EtcdTerm term, EtcdJournal journal) = await LeadAsync(etcd, prefix);
        return new EtcdCrashDisk(etcd, prefix, term, journal);
    }

    public async Task NextLifeAsync()
    {
        await _term.DisposeAsync();
        await _journal.DisposeAsync();
        (_term, _journal) = await LeadAsync(_etcd, _prefix);
    }

    public async ValueTask DisposeAsync()
    {
        await _term.DisposeAsync();
        await _journal.DisposeAsync();
        _etcd.Dispose();
    }

    private static async Task<(EtcdTerm Term, EtcdJournal Journal)> LeadAsync(EtcdClient etcd, string prefix)
    {
        string life = Guid.NewGuid().ToString("N");
        EtcdTerm term = await new EtcdElection(etcd, prefix, 60).CampaignAsync(
            new LeaderInfo("mms", null, life, "2026-11-30T12:00:00Z"), _ => Task.CompletedTask, CancellationToken.None);
        return (term, await EtcdJournal.OpenAsync(etcd, prefix, life, term.Revision, CancellationToken.None));
    }
}
